"""The referral contract: a student handed over is never dropped."""
