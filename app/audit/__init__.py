"""Who enrolled, searched or erased what: an append-only file of lines that names nobody (docs/adr/0012-audit.md)."""
