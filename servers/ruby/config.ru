# The contract as a Rack application.

run lambda { |env|
  _, name, argument = env["PATH_INFO"].split("/")
  case name
  when "status"
    [argument.to_i, {}, []]
  when "sleep"
    sleep(argument.to_i / 1000.0)
    [200, { "content-length" => "6" }, ["slept\n"]]
  when "bytes"
    body = "x" * argument.to_i
    [200, { "content-length" => body.bytesize.to_s }, env["REQUEST_METHOD"] == "HEAD" ? [] : [body]]
  when "echo"
    body = env["rack.input"].read
    [200, { "content-length" => body.bytesize.to_s }, [body]]
  else
    [404, {}, []]
  end
}
