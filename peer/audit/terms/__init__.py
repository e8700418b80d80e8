"""What an audit makes of terms: which records are settled, and which promises were broken."""
