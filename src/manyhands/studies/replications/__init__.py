"""Published works, repeated with their own protocols and with ours."""
