module contract

go 1.19
