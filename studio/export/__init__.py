"""Writers of files for edge hardware; `targets` says what each can store and run."""
