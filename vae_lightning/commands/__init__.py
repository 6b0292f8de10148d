"""Commands: vae-train, vae-eval, vae-encode, vae-export and vae-report."""
