from retrain_trigger.cli import main

main()
