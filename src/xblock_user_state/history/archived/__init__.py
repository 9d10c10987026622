"""The archive of early history: files of Parquet in a folder or an object store, and their manifest.

From top to bottom: `lookup` reads the early entries of a learner in a block; `catalogue` finds them in the files that a
manifest names, and `coverage` tells checks which revisions these have; `parts` is the format of a file, `manifest` the
list of files, `places` the folder or object store.
"""
