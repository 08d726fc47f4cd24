"""Reports, made from saved records alone: pages, figures, tables, CSV files."""
