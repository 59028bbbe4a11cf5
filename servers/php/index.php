<?php
// The contract in plain PHP: every request comes here.

declare(strict_types=1);

[, $name, $argument] = explode('/', parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH) . '/');

switch ($name) {
    case 'status':
        http_response_code((int) $argument);
        break;
    case 'sleep':
        usleep(1000 * (int) $argument);
        echo "slept\n";
        break;
    case 'bytes':
        header('Content-Length: ' . $argument);
        echo str_repeat('x', (int) $argument);
        break;
    case 'echo':
        echo file_get_contents('php://input');
        break;
    default:
        http_response_code(404);
}
