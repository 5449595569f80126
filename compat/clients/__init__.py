"""Client-library checks: the same everyday work by many libraries, each against one address."""
