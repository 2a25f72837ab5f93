"""The framework-free core: moves and proves data. Standard library and psycopg only."""
