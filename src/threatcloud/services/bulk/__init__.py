"""Reading apart from storing: the process that reads files, as whoever starts it sees it."""
