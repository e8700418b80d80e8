"""What an app process may use: decided in one place, and enforced by the means that the machine has."""
