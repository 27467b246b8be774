"""Is it true: audits of records, determinants, probes, coverage, judgement."""
