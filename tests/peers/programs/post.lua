-- wrk POSTs the body of the file named in BODY; without a request function it is made once, not per request.
local file = assert(io.open(os.getenv("BODY"), "rb"))
wrk.method = "POST"
wrk.body = file:read("*a")
wrk.headers["Content-Type"] = "message/rfc822"
file:close()
