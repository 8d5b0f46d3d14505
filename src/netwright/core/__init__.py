"""What everything else stands on: errors, the spec grammar, registries, symptoms. No torch; imports in milliseconds."""
