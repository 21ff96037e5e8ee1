"""The service: HTTP, command line and library over `engines` and `gallery`."""
