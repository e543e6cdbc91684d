"""What the Serve screen is made of, apart from its panes."""
