"""Reading a place: one process of a service leads, hands on in order, and remembers how far it came."""
