//! aws_auth
