"""Rollups: counts, sums, least and greatest of groups, kept by what writers do, exactly."""
