"""What is said in a run: the bodies of records, their signatures, and the parts that only readers see."""
