"""The copymart command line: the verbs that dbt does not have."""
