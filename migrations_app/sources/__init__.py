"""The resource directory: turns the five source types into an address that can be dialled."""
