"""The one home of configuration: model, loading with origins, checking, writing, watching."""
