"""Studies of the protocol itself: what the future that it looks at covers, and whether its metrics tell the truth.

Nothing else imports this package; it may use all the others.
"""
