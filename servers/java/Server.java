import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.util.Arrays;
import java.util.concurrent.Executors;

/** The contract on the JDK's own HTTP server. */
public final class Server {
    public static void main(String[] arguments) throws IOException {
        var address = new InetSocketAddress("127.0.0.1", Integer.parseInt(arguments[0]));
        var server = HttpServer.create(address, 0);
        server.setExecutor(Executors.newFixedThreadPool(16));
        server.createContext("/", exchange -> answer(exchange, 404, new byte[0]));
        server.createContext("/status/", exchange -> answer(exchange, number(exchange), new byte[0]));
        server.createContext("/sleep/", exchange -> {
            try {
                Thread.sleep(number(exchange));
            } catch (InterruptedException interrupt) {
                Thread.currentThread().interrupt();
            }
            answer(exchange, 200, "slept\n".getBytes());
        });
        server.createContext("/bytes/", exchange -> {
            var bytes = new byte[number(exchange)];
            Arrays.fill(bytes, (byte) 'x');
            answer(exchange, 200, bytes);
        });
        server.createContext("/echo", exchange -> answer(exchange, 200, exchange.getRequestBody().readAllBytes()));
        server.start();
    }

    /** What stands behind the last slash of the path. */
    private static int number(HttpExchange exchange) {
        var path = exchange.getRequestURI().getPath();
        return Integer.parseInt(path.substring(path.lastIndexOf('/') + 1));
    }

    private static void answer(HttpExchange exchange, int status, byte[] body) throws IOException {
        try (exchange) {
            if (exchange.getRequestMethod().equals("HEAD")) {
                exchange.getResponseHeaders().set("Content-Length", Integer.toString(body.length));
                exchange.sendResponseHeaders(status, -1);
            } else {
                exchange.sendResponseHeaders(status, body.length == 0 ? -1 : body.length);
                exchange.getResponseBody().write(body);
            }
        }
    }
}
