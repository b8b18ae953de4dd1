module github.com/direnv/direnv/v2

go 1.16
