"""Values and decisions. Nothing here reads a clock, a socket, a file or a database."""
