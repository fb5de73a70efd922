"""A DNS blocklist (RFC 5782) over the published lists: messages, the zone, what is listed, and the sockets."""
