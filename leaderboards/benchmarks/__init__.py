"""The benchmarks, by question: each measures a claim and says whether it holds."""
