"""Files from outside: the registry, and how they are fetched and checked."""
