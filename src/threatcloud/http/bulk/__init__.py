"""Files of lists and reports: read and prepared by a process of its own, stored by the server."""
