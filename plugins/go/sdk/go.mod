module github.com/wasmill/wasmill/plugins/go/sdk

go 1.24
