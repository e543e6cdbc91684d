"""Facts laid out as rows of spans: pure functions of a width, so that they can be tested without a screen."""
