"""Commands: vae-train, vae-eval, vae-export and vae-report."""
