{# A view: of 100 events one arrives twice, so a table would be a copy of the other 99, which took a fifth of a full
   refresh. #}
{{ config(
    materialized='view',
    meta={'touched': [{'model': 'int_touched_events', 'on': {'event_id': 'event_id'}}]}
) }}

with

landed as (

    select * from {{ source('customerio', 'customerio_events') }}

),

{{ distinct_events('final') }}

select * from final
