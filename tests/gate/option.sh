rucio --account reader --auth-token PLANTED list-dids
