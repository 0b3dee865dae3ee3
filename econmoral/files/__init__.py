"""Records, tables and command lines: what every command reads and writes."""
