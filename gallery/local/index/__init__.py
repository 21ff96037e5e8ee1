"""What a collection is searched with: exact by default, approximate where that is asked for."""
