"""What every engine must do; import it to test another one."""
