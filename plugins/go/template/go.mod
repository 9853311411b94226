module my-handler

go 1.24

require github.com/wasmill/wasmill/plugins/go/sdk v0.0.0

// The SDK lies in a folder of this project and is not downloaded.
replace github.com/wasmill/wasmill/plugins/go/sdk => ./../sdk
