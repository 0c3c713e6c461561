"""The yearly audit pack (未成年人个人信息合规审计): what a node held, under which law, who was shown what, what went wrong."""
