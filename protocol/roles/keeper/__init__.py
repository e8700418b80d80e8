"""The keeper: stores and serves runs that it cannot read, and passes on what members announce."""
