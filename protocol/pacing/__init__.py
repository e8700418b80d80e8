"""How often something may happen, and when it is tried again."""
