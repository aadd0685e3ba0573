-- Of the library, and of the OCI runtime specification that states and hooks speak.
return { caisson = "0.1.0", oci = "1.2.0" }
