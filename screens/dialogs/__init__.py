"""Small screens over the others: jump, help, sort, copy, a server's details, text to select."""
