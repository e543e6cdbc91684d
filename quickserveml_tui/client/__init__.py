"""The service ports spoken over HTTP to a remote server."""
