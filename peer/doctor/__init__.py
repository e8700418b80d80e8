"""What ``peer doctor`` checks."""
