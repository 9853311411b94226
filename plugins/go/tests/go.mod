// Below the SDK by name, so that it may import what is internal there.
module github.com/wasmill/wasmill/plugins/go/sdk/tests

go 1.24

require github.com/wasmill/wasmill/plugins/go/sdk v0.0.0

replace github.com/wasmill/wasmill/plugins/go/sdk => ./../sdk
